; {"kind": "flip-precondition", "what": "paint-up: precondition (robot-at ?r ?from) turned into (not (robot-at ?r ?from))", "equivalent": false, "fails": ["sound", "complete", "cross", "cost_equal", "plan_match", "bisimilar", "same_schemas"]}
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
    :parameters (?r - robot ?old ?new - color)
    :precondition (and (robot-has ?r ?old) (available ?new))
    :effect (and (robot-has ?r ?new) (not (robot-has ?r ?old)) (increase (total-cost) 5)))
  (:action paint-up
    :parameters (?r - robot ?target ?from - tile ?c - color)
    :precondition (and (robot-has ?r ?c) (not (robot-at ?r ?from)) (above ?target ?from) (clear ?target))
    :effect (and (painted ?target ?c) (not (clear ?target)) (increase (total-cost) 2)))
  (:action paint-down
    :parameters (?r - robot ?target ?from - tile ?c - color)
    :precondition (and (robot-has ?r ?c) (robot-at ?r ?from) (above ?from ?target) (clear ?target))
    :effect (and (painted ?target ?c) (not (clear ?target)) (increase (total-cost) 2)))
  (:action up
    :parameters (?r - robot ?from ?to - tile)
    :precondition (and (robot-at ?r ?from) (above ?to ?from) (clear ?to))
    :effect (and (robot-at ?r ?to) (clear ?from) (not (robot-at ?r ?from)) (not (clear ?to)) (increase (total-cost) 3)))
  (:action down
    :parameters (?r - robot ?from ?to - tile)
    :precondition (and (robot-at ?r ?from) (above ?from ?to) (clear ?to))
    :effect (and (robot-at ?r ?to) (clear ?from) (not (robot-at ?r ?from)) (not (clear ?to)) (increase (total-cost) 1)))
  (:action right
    :parameters (?r - robot ?from ?to - tile)
    :precondition (and (robot-at ?r ?from) (right-of ?to ?from) (clear ?to))
    :effect (and (robot-at ?r ?to) (clear ?from) (not (robot-at ?r ?from)) (not (clear ?to)) (increase (total-cost) 1)))
  (:action left
    :parameters (?r - robot ?from ?to - tile)
    :precondition (and (robot-at ?r ?from) (right-of ?from ?to) (clear ?to))
    :effect (and (robot-at ?r ?to) (clear ?from) (not (robot-at ?r ?from)) (not (clear ?to)) (increase (total-cost) 1))))
