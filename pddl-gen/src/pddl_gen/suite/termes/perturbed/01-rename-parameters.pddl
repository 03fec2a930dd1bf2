; {"kind": "rename-parameters", "what": "all parameters renamed", "equivalent": true, "fails": []}
(define (domain termes)
  (:requirements :strips :typing :negative-preconditions)
  (:types cell level - object)
  (:predicates
    (robot-at ?c - cell)
    (height ?c - cell ?l - level)
    (next ?higher ?lower - level)
    (ground ?l - level)
    (neighbor ?a ?b - cell)
    (depot ?c - cell)
    (has-block))
  (:action move
    :parameters (?p0 ?p1 - cell ?p2 - level)
    :precondition (and (robot-at ?p0) (neighbor ?p0 ?p1) (height ?p0 ?p2) (height ?p1 ?p2))
    :effect (and (robot-at ?p1) (not (robot-at ?p0))))
  (:action move-up
    :parameters (?p0 ?p1 - cell ?p2 ?p3 - level)
    :precondition (and (robot-at ?p0) (neighbor ?p0 ?p1) (height ?p0 ?p2) (height ?p1 ?p3) (next ?p3 ?p2))
    :effect (and (robot-at ?p1) (not (robot-at ?p0))))
  (:action move-down
    :parameters (?p0 ?p1 - cell ?p2 ?p3 - level)
    :precondition (and (robot-at ?p0) (neighbor ?p0 ?p1) (height ?p0 ?p2) (height ?p1 ?p3) (next ?p2 ?p3))
    :effect (and (robot-at ?p1) (not (robot-at ?p0))))
  (:action place-block
    :parameters (?p0 ?p1 - cell ?p2 ?p3 - level)
    :precondition (and (robot-at ?p0) (neighbor ?p0 ?p1) (has-block) (height ?p0 ?p2) (height ?p1 ?p2) (next ?p3 ?p2) (not (depot ?p1)))
    :effect (and (height ?p1 ?p3) (not (height ?p1 ?p2)) (not (has-block))))
  (:action remove-block
    :parameters (?p0 ?p1 - cell ?p2 ?p3 - level)
    :precondition (and (robot-at ?p0) (neighbor ?p0 ?p1) (not (has-block)) (height ?p0 ?p3) (height ?p1 ?p2) (next ?p2 ?p3))
    :effect (and (height ?p1 ?p3) (has-block) (not (height ?p1 ?p2))))
  (:action create-block
    :parameters (?p0 - cell)
    :precondition (and (robot-at ?p0) (depot ?p0) (not (has-block)))
    :effect (has-block))
  (:action destroy-block
    :parameters (?p0 - cell)
    :precondition (and (robot-at ?p0) (depot ?p0) (has-block))
    :effect (not (has-block))))
