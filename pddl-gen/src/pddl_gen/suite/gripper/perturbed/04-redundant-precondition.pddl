; {"kind": "redundant-precondition", "what": "drop: (carry ?b ?g) is asked for twice, once as a disjunction", "equivalent": true, "fails": ["same_schemas"]}
(define (domain gripper)
  (:requirements :strips :typing :disjunctive-preconditions)
  (:types room ball gripper - object)
  (:predicates
    (robot-at ?r - room)
    (at ?b - ball ?r - room)
    (free ?g - gripper)
    (carry ?b - ball ?g - gripper))
  (:action move
    :parameters (?from ?to - room)
    :precondition (robot-at ?from)
    :effect (and (robot-at ?to) (not (robot-at ?from))))
  (:action pick
    :parameters (?b - ball ?r - room ?g - gripper)
    :precondition (and (at ?b ?r) (robot-at ?r) (free ?g))
    :effect (and (carry ?b ?g) (not (at ?b ?r)) (not (free ?g))))
  (:action drop
    :parameters (?b - ball ?r - room ?g - gripper)
    :precondition (and (carry ?b ?g) (robot-at ?r) (or (carry ?b ?g) (carry ?b ?g)))
    :effect (and (at ?b ?r) (free ?g) (not (carry ?b ?g)))))
