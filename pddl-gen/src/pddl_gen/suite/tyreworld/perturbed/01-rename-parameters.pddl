; {"kind": "rename-parameters", "what": "all parameters renamed", "equivalent": true, "fails": []}
(define (domain tyreworld)
  (:requirements :strips :typing :negative-preconditions)
  (:types thing container hub - object wheel nut tool - thing wrench jack pump - tool)
  (:predicates
    (open ?c - container)
    (in ?x - thing ?c - container)
    (have ?x - thing)
    (on-hub ?w - wheel ?h - hub)
    (nut-of ?n - nut ?h - hub)
    (tight ?n - nut ?h - hub)
    (loose ?n - nut ?h - hub)
    (on-ground ?h - hub)
    (raised-by ?h - hub ?j - jack)
    (bare ?h - hub)
    (unfastened ?h - hub)
    (intact ?w - wheel)
    (inflated ?w - wheel))
  (:action open-boot
    :parameters (?p0 - container)
    :precondition (not (open ?p0))
    :effect (open ?p0))
  (:action close-boot
    :parameters (?p0 - container)
    :precondition (open ?p0)
    :effect (not (open ?p0)))
  (:action fetch
    :parameters (?p0 - thing ?p1 - container)
    :precondition (and (in ?p0 ?p1) (open ?p1))
    :effect (and (have ?p0) (not (in ?p0 ?p1))))
  (:action put-away
    :parameters (?p0 - thing ?p1 - container)
    :precondition (and (have ?p0) (open ?p1))
    :effect (and (in ?p0 ?p1) (not (have ?p0))))
  (:action loosen
    :parameters (?p0 - nut ?p1 - hub ?p2 - wrench)
    :precondition (and (have ?p2) (tight ?p0 ?p1) (on-ground ?p1))
    :effect (and (loose ?p0 ?p1) (not (tight ?p0 ?p1))))
  (:action tighten
    :parameters (?p0 - nut ?p1 - hub ?p2 - wrench)
    :precondition (and (have ?p2) (loose ?p0 ?p1) (on-ground ?p1))
    :effect (and (tight ?p0 ?p1) (not (loose ?p0 ?p1))))
  (:action jack-up
    :parameters (?p0 - hub ?p1 - jack)
    :precondition (and (have ?p1) (on-ground ?p0))
    :effect (and (raised-by ?p0 ?p1) (not (on-ground ?p0)) (not (have ?p1))))
  (:action jack-down
    :parameters (?p0 - hub ?p1 - jack)
    :precondition (raised-by ?p0 ?p1)
    :effect (and (on-ground ?p0) (have ?p1) (not (raised-by ?p0 ?p1))))
  (:action undo
    :parameters (?p0 - nut ?p1 - hub ?p2 - wrench)
    :precondition (and (have ?p2) (loose ?p0 ?p1) (not (on-ground ?p1)))
    :effect (and (have ?p0) (unfastened ?p1) (not (loose ?p0 ?p1))))
  (:action do-up
    :parameters (?p0 - nut ?p1 - hub ?p2 - wrench)
    :precondition (and (have ?p2) (have ?p0) (nut-of ?p0 ?p1) (unfastened ?p1) (not (on-ground ?p1)))
    :effect (and (loose ?p0 ?p1) (not (have ?p0)) (not (unfastened ?p1))))
  (:action remove-wheel
    :parameters (?p0 - wheel ?p1 - hub)
    :precondition (and (on-hub ?p0 ?p1) (unfastened ?p1) (not (on-ground ?p1)))
    :effect (and (have ?p0) (bare ?p1) (not (on-hub ?p0 ?p1))))
  (:action put-on-wheel
    :parameters (?p0 - wheel ?p1 - hub)
    :precondition (and (have ?p0) (bare ?p1) (unfastened ?p1) (not (on-ground ?p1)))
    :effect (and (on-hub ?p0 ?p1) (not (have ?p0)) (not (bare ?p1))))
  (:action inflate
    :parameters (?p0 - wheel ?p1 - pump)
    :precondition (and (have ?p1) (have ?p0) (intact ?p0) (not (inflated ?p0)))
    :effect (inflated ?p0)))
