; {"kind": "reorder-literals", "what": "literals and predicates in another order", "equivalent": true, "fails": []}
(define (domain floortile)
  (:requirements :strips :typing :action-costs)
  (:types robot tile color - object)
  (:predicates
    (robot-at ?r - robot ?t - tile)
    (available ?c - color)
    (clear ?t - tile)
    (robot-has ?r - robot ?c - color)
    (painted ?t - tile ?c - color)
    (right-of ?right ?left - tile)
    (above ?upper ?lower - tile))
  (:functions
    (total-cost) - number)
  (:action change-color
    :parameters (?r - robot ?old ?new - color)
    :precondition (and (robot-has ?r ?old) (available ?new))
    :effect (and (increase (total-cost) 5) (not (robot-has ?r ?old)) (robot-has ?r ?new)))
  (:action paint-up
    :parameters (?r - robot ?target ?from - tile ?c - color)
    :precondition (and (above ?target ?from) (robot-has ?r ?c) (clear ?target) (robot-at ?r ?from))
    :effect (and (increase (total-cost) 2) (not (clear ?target)) (painted ?target ?c)))
  (:action paint-down
    :parameters (?r - robot ?target ?from - tile ?c - color)
    :precondition (and (robot-has ?r ?c) (above ?from ?target) (robot-at ?r ?from) (clear ?target))
    :effect (and (increase (total-cost) 2) (not (clear ?target)) (painted ?target ?c)))
  (:action up
    :parameters (?r - robot ?from ?to - tile)
    :precondition (and (clear ?to) (robot-at ?r ?from) (above ?to ?from))
    :effect (and (increase (total-cost) 3) (not (clear ?to)) (not (robot-at ?r ?from)) (clear ?from) (robot-at ?r ?to)))
  (:action down
    :parameters (?r - robot ?from ?to - tile)
    :precondition (and (robot-at ?r ?from) (above ?from ?to) (clear ?to))
    :effect (and (increase (total-cost) 1) (not (clear ?to)) (not (robot-at ?r ?from)) (clear ?from) (robot-at ?r ?to)))
  (:action right
    :parameters (?r - robot ?from ?to - tile)
    :precondition (and (clear ?to) (right-of ?to ?from) (robot-at ?r ?from))
    :effect (and (increase (total-cost) 1) (not (clear ?to)) (not (robot-at ?r ?from)) (clear ?from) (robot-at ?r ?to)))
  (:action left
    :parameters (?r - robot ?from ?to - tile)
    :precondition (and (clear ?to) (right-of ?from ?to) (robot-at ?r ?from))
    :effect (and (increase (total-cost) 1) (not (clear ?to)) (not (robot-at ?r ?from)) (clear ?from) (robot-at ?r ?to))))
