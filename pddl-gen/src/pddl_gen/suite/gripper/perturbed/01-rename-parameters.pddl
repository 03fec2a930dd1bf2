; {"kind": "rename-parameters", "what": "all parameters renamed", "equivalent": true, "fails": []}
(define (domain gripper)
  (:requirements :strips :typing)
  (:types room ball gripper - object)
  (:predicates
    (robot-at ?r - room)
    (at ?b - ball ?r - room)
    (free ?g - gripper)
    (carry ?b - ball ?g - gripper))
  (:action move
    :parameters (?p0 ?p1 - room)
    :precondition (robot-at ?p0)
    :effect (and (robot-at ?p1) (not (robot-at ?p0))))
  (:action pick
    :parameters (?p0 - ball ?p1 - room ?p2 - gripper)
    :precondition (and (at ?p0 ?p1) (robot-at ?p1) (free ?p2))
    :effect (and (carry ?p0 ?p2) (not (at ?p0 ?p1)) (not (free ?p2))))
  (:action drop
    :parameters (?p0 - ball ?p1 - room ?p2 - gripper)
    :precondition (and (carry ?p0 ?p2) (robot-at ?p1))
    :effect (and (at ?p0 ?p1) (free ?p2) (not (carry ?p0 ?p2)))))
