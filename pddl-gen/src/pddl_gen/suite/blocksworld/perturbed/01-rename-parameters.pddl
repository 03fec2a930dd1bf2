; {"kind": "rename-parameters", "what": "all parameters renamed", "equivalent": true, "fails": []}
(define (domain blocksworld)
  (:requirements :strips :typing)
  (:types block - object)
  (:predicates
    (on ?upper ?lower - block)
    (on-table ?b - block)
    (clear ?b - block)
    (holding ?b - block)
    (hand-empty))
  (:action pick-up
    :parameters (?p0 - block)
    :precondition (and (clear ?p0) (on-table ?p0) (hand-empty))
    :effect (and (holding ?p0) (not (clear ?p0)) (not (on-table ?p0)) (not (hand-empty))))
  (:action put-down
    :parameters (?p0 - block)
    :precondition (holding ?p0)
    :effect (and (on-table ?p0) (clear ?p0) (hand-empty) (not (holding ?p0))))
  (:action stack
    :parameters (?p0 ?p1 - block)
    :precondition (and (holding ?p0) (clear ?p1))
    :effect (and (on ?p0 ?p1) (clear ?p0) (hand-empty) (not (holding ?p0)) (not (clear ?p1))))
  (:action unstack
    :parameters (?p0 ?p1 - block)
    :precondition (and (on ?p0 ?p1) (clear ?p0) (hand-empty))
    :effect (and (holding ?p0) (clear ?p1) (not (on ?p0 ?p1)) (not (clear ?p0)) (not (hand-empty)))))
