; {"kind": "drop-delete", "what": "board: effect (not (at ?c ?h)) dropped", "equivalent": false, "fails": ["bisimilar", "same_schemas"]}
(define (domain ferry)
  (:requirements :strips :typing)
  (:types car harbour - object)
  (:predicates
    (ferry-at ?h - harbour)
    (at ?c - car ?h - harbour)
    (aboard ?c - car)
    (empty-ferry))
  (:action sail
    :parameters (?from ?to - harbour)
    :precondition (ferry-at ?from)
    :effect (and (ferry-at ?to) (not (ferry-at ?from))))
  (:action board
    :parameters (?c - car ?h - harbour)
    :precondition (and (at ?c ?h) (ferry-at ?h) (empty-ferry))
    :effect (and (aboard ?c) (not (empty-ferry))))
  (:action debark
    :parameters (?c - car ?h - harbour)
    :precondition (and (aboard ?c) (ferry-at ?h))
    :effect (and (at ?c ?h) (empty-ferry) (not (aboard ?c)))))
