; {"kind": "rename-parameters", "what": "all parameters renamed", "equivalent": true, "fails": []}
(define (domain floortile)
  (:requirements :strips :typing :action-costs)
  (:types robot tile color - object)
  (:predicates
    (robot-at ?r - robot ?t - tile)
    (above ?upper ?lower - tile)
    (right-of ?right ?left - tile)
    (clear ?t - tile)
    (painted ?t - tile ?c - color)
    (robot-has ?r - robot ?c - color)
    (available ?c - color))
  (:functions
    (total-cost) - number)
  (:action change-color
    :parameters (?p0 - robot ?p1 ?p2 - color)
    :precondition (and (robot-has ?p0 ?p1) (available ?p2))
    :effect (and (robot-has ?p0 ?p2) (not (robot-has ?p0 ?p1)) (increase (total-cost) 5)))
  (:action paint-up
    :parameters (?p0 - robot ?p1 ?p2 - tile ?p3 - color)
    :precondition (and (robot-has ?p0 ?p3) (robot-at ?p0 ?p2) (above ?p1 ?p2) (clear ?p1))
    :effect (and (painted ?p1 ?p3) (not (clear ?p1)) (increase (total-cost) 2)))
  (:action paint-down
    :parameters (?p0 - robot ?p1 ?p2 - tile ?p3 - color)
    :precondition (and (robot-has ?p0 ?p3) (robot-at ?p0 ?p2) (above ?p2 ?p1) (clear ?p1))
    :effect (and (painted ?p1 ?p3) (not (clear ?p1)) (increase (total-cost) 2)))
  (:action up
    :parameters (?p0 - robot ?p1 ?p2 - tile)
    :precondition (and (robot-at ?p0 ?p1) (above ?p2 ?p1) (clear ?p2))
    :effect (and (robot-at ?p0 ?p2) (clear ?p1) (not (robot-at ?p0 ?p1)) (not (clear ?p2)) (increase (total-cost) 3)))
  (:action down
    :parameters (?p0 - robot ?p1 ?p2 - tile)
    :precondition (and (robot-at ?p0 ?p1) (above ?p1 ?p2) (clear ?p2))
    :effect (and (robot-at ?p0 ?p2) (clear ?p1) (not (robot-at ?p0 ?p1)) (not (clear ?p2)) (increase (total-cost) 1)))
  (:action right
    :parameters (?p0 - robot ?p1 ?p2 - tile)
    :precondition (and (robot-at ?p0 ?p1) (right-of ?p2 ?p1) (clear ?p2))
    :effect (and (robot-at ?p0 ?p2) (clear ?p1) (not (robot-at ?p0 ?p1)) (not (clear ?p2)) (increase (total-cost) 1)))
  (:action left
    :parameters (?p0 - robot ?p1 ?p2 - tile)
    :precondition (and (robot-at ?p0 ?p1) (right-of ?p1 ?p2) (clear ?p2))
    :effect (and (robot-at ?p0 ?p2) (clear ?p1) (not (robot-at ?p0 ?p1)) (not (clear ?p2)) (increase (total-cost) 1))))
