; {"kind": "reorder-literals", "what": "literals and predicates in another order", "equivalent": true, "fails": []}
(define (domain blocksworld)
  (:requirements :strips :typing)
  (:types block - object)
  (:predicates
    (holding ?b - block)
    (on-table ?b - block)
    (clear ?b - block)
    (hand-empty)
    (on ?upper ?lower - block))
  (:action pick-up
    :parameters (?b - block)
    :precondition (and (on-table ?b) (clear ?b) (hand-empty))
    :effect (and (not (on-table ?b)) (not (hand-empty)) (holding ?b) (not (clear ?b))))
  (:action put-down
    :parameters (?b - block)
    :precondition (and (holding ?b))
    :effect (and (not (holding ?b)) (hand-empty) (on-table ?b) (clear ?b)))
  (:action stack
    :parameters (?upper ?lower - block)
    :precondition (and (holding ?upper) (clear ?lower))
    :effect (and (not (holding ?upper)) (on ?upper ?lower) (not (clear ?lower)) (clear ?upper) (hand-empty)))
  (:action unstack
    :parameters (?upper ?lower - block)
    :precondition (and (on ?upper ?lower) (hand-empty) (clear ?upper))
    :effect (and (not (clear ?upper)) (not (hand-empty)) (holding ?upper) (not (on ?upper ?lower)) (clear ?lower))))
