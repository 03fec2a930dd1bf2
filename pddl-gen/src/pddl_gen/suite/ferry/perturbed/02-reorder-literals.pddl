; {"kind": "reorder-literals", "what": "literals and predicates in another order", "equivalent": true, "fails": []}
(define (domain ferry)
  (:requirements :strips :typing)
  (:types car harbour - object)
  (:predicates
    (at ?c - car ?h - harbour)
    (aboard ?c - car)
    (ferry-at ?h - harbour)
    (empty-ferry))
  (:action sail
    :parameters (?from ?to - harbour)
    :precondition (and (ferry-at ?from))
    :effect (and (ferry-at ?to) (not (ferry-at ?from))))
  (:action board
    :parameters (?c - car ?h - harbour)
    :precondition (and (empty-ferry) (ferry-at ?h) (at ?c ?h))
    :effect (and (not (at ?c ?h)) (not (empty-ferry)) (aboard ?c)))
  (:action debark
    :parameters (?c - car ?h - harbour)
    :precondition (and (aboard ?c) (ferry-at ?h))
    :effect (and (at ?c ?h) (empty-ferry) (not (aboard ?c)))))
