; {"kind": "reorder-literals", "what": "literals and predicates in another order", "equivalent": true, "fails": []}
(define (domain gripper)
  (:requirements :strips :typing)
  (:types room ball gripper - object)
  (:predicates
    (at ?b - ball ?r - room)
    (robot-at ?r - room)
    (carry ?b - ball ?g - gripper)
    (free ?g - gripper))
  (:action move
    :parameters (?from ?to - room)
    :precondition (and (robot-at ?from))
    :effect (and (robot-at ?to) (not (robot-at ?from))))
  (:action pick
    :parameters (?b - ball ?r - room ?g - gripper)
    :precondition (and (robot-at ?r) (free ?g) (at ?b ?r))
    :effect (and (not (at ?b ?r)) (not (free ?g)) (carry ?b ?g)))
  (:action drop
    :parameters (?b - ball ?r - room ?g - gripper)
    :precondition (and (carry ?b ?g) (robot-at ?r))
    :effect (and (not (carry ?b ?g)) (free ?g) (at ?b ?r))))
