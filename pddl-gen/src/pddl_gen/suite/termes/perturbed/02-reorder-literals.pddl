; {"kind": "reorder-literals", "what": "literals and predicates in another order", "equivalent": true, "fails": []}
(define (domain termes)
  (:requirements :strips :typing :negative-preconditions)
  (:types cell level - object)
  (:predicates
    (ground ?l - level)
    (has-block)
    (neighbor ?a ?b - cell)
    (next ?higher ?lower - level)
    (depot ?c - cell)
    (robot-at ?c - cell)
    (height ?c - cell ?l - level))
  (:action move
    :parameters (?from ?to - cell ?l - level)
    :precondition (and (height ?to ?l) (robot-at ?from) (neighbor ?from ?to) (height ?from ?l))
    :effect (and (not (robot-at ?from)) (robot-at ?to)))
  (:action move-up
    :parameters (?from ?to - cell ?lower ?higher - level)
    :precondition (and (robot-at ?from) (height ?from ?lower) (neighbor ?from ?to) (height ?to ?higher) (next ?higher ?lower))
    :effect (and (not (robot-at ?from)) (robot-at ?to)))
  (:action move-down
    :parameters (?from ?to - cell ?higher ?lower - level)
    :precondition (and (neighbor ?from ?to) (height ?from ?higher) (next ?higher ?lower) (height ?to ?lower) (robot-at ?from))
    :effect (and (not (robot-at ?from)) (robot-at ?to)))
  (:action place-block
    :parameters (?from ?to - cell ?before ?after - level)
    :precondition (and (height ?from ?before) (next ?after ?before) (robot-at ?from) (neighbor ?from ?to) (not (depot ?to)) (height ?to ?before) (has-block))
    :effect (and (not (height ?to ?before)) (not (has-block)) (height ?to ?after)))
  (:action remove-block
    :parameters (?from ?to - cell ?before ?after - level)
    :precondition (and (height ?from ?after) (not (has-block)) (next ?before ?after) (robot-at ?from) (height ?to ?before) (neighbor ?from ?to))
    :effect (and (not (height ?to ?before)) (height ?to ?after) (has-block)))
  (:action create-block
    :parameters (?c - cell)
    :precondition (and (depot ?c) (not (has-block)) (robot-at ?c))
    :effect (and (has-block)))
  (:action destroy-block
    :parameters (?c - cell)
    :precondition (and (robot-at ?c) (depot ?c) (has-block))
    :effect (and (not (has-block)))))
