; {"kind": "swap-arguments", "what": "place-block: precondition (next ?after ?before): ?after and ?before swapped", "equivalent": false, "fails": ["solvable", "sound", "complete", "cross", "cost_equal", "plan_match", "bisimilar", "same_schemas"]}
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
    :parameters (?from ?to - cell ?l - level)
    :precondition (and (robot-at ?from) (neighbor ?from ?to) (height ?from ?l) (height ?to ?l))
    :effect (and (robot-at ?to) (not (robot-at ?from))))
  (:action move-up
    :parameters (?from ?to - cell ?lower ?higher - level)
    :precondition (and (robot-at ?from) (neighbor ?from ?to) (height ?from ?lower) (height ?to ?higher) (next ?higher ?lower))
    :effect (and (robot-at ?to) (not (robot-at ?from))))
  (:action move-down
    :parameters (?from ?to - cell ?higher ?lower - level)
    :precondition (and (robot-at ?from) (neighbor ?from ?to) (height ?from ?higher) (height ?to ?lower) (next ?higher ?lower))
    :effect (and (robot-at ?to) (not (robot-at ?from))))
  (:action place-block
    :parameters (?from ?to - cell ?before ?after - level)
    :precondition (and (robot-at ?from) (neighbor ?from ?to) (has-block) (height ?from ?before) (height ?to ?before) (next ?before ?after) (not (depot ?to)))
    :effect (and (height ?to ?after) (not (height ?to ?before)) (not (has-block))))
  (:action remove-block
    :parameters (?from ?to - cell ?before ?after - level)
    :precondition (and (robot-at ?from) (neighbor ?from ?to) (not (has-block)) (height ?from ?after) (height ?to ?before) (next ?before ?after))
    :effect (and (height ?to ?after) (has-block) (not (height ?to ?before))))
  (:action create-block
    :parameters (?c - cell)
    :precondition (and (robot-at ?c) (depot ?c) (not (has-block)))
    :effect (has-block))
  (:action destroy-block
    :parameters (?c - cell)
    :precondition (and (robot-at ?c) (depot ?c) (has-block))
    :effect (not (has-block))))
