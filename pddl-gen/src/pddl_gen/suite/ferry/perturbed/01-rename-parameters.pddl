; {"kind": "rename-parameters", "what": "all parameters renamed", "equivalent": true, "fails": []}
(define (domain ferry)
  (:requirements :strips :typing)
  (:types car harbour - object)
  (:predicates
    (ferry-at ?h - harbour)
    (at ?c - car ?h - harbour)
    (aboard ?c - car)
    (empty-ferry))
  (:action sail
    :parameters (?p0 ?p1 - harbour)
    :precondition (ferry-at ?p0)
    :effect (and (ferry-at ?p1) (not (ferry-at ?p0))))
  (:action board
    :parameters (?p0 - car ?p1 - harbour)
    :precondition (and (at ?p0 ?p1) (ferry-at ?p1) (empty-ferry))
    :effect (and (aboard ?p0) (not (at ?p0 ?p1)) (not (empty-ferry))))
  (:action debark
    :parameters (?p0 - car ?p1 - harbour)
    :precondition (and (aboard ?p0) (ferry-at ?p1))
    :effect (and (at ?p0 ?p1) (empty-ferry) (not (aboard ?p0)))))
