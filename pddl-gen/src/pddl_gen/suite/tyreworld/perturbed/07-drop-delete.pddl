; {"kind": "drop-delete", "what": "remove-wheel: effect (not (on-hub ?w ?h)) dropped", "equivalent": false, "fails": ["plan_match", "bisimilar", "same_schemas"]}
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
    :parameters (?c - container)
    :precondition (not (open ?c))
    :effect (open ?c))
  (:action close-boot
    :parameters (?c - container)
    :precondition (open ?c)
    :effect (not (open ?c)))
  (:action fetch
    :parameters (?x - thing ?c - container)
    :precondition (and (in ?x ?c) (open ?c))
    :effect (and (have ?x) (not (in ?x ?c))))
  (:action put-away
    :parameters (?x - thing ?c - container)
    :precondition (and (have ?x) (open ?c))
    :effect (and (in ?x ?c) (not (have ?x))))
  (:action loosen
    :parameters (?n - nut ?h - hub ?w - wrench)
    :precondition (and (have ?w) (tight ?n ?h) (on-ground ?h))
    :effect (and (loose ?n ?h) (not (tight ?n ?h))))
  (:action tighten
    :parameters (?n - nut ?h - hub ?w - wrench)
    :precondition (and (have ?w) (loose ?n ?h) (on-ground ?h))
    :effect (and (tight ?n ?h) (not (loose ?n ?h))))
  (:action jack-up
    :parameters (?h - hub ?j - jack)
    :precondition (and (have ?j) (on-ground ?h))
    :effect (and (raised-by ?h ?j) (not (on-ground ?h)) (not (have ?j))))
  (:action jack-down
    :parameters (?h - hub ?j - jack)
    :precondition (raised-by ?h ?j)
    :effect (and (on-ground ?h) (have ?j) (not (raised-by ?h ?j))))
  (:action undo
    :parameters (?n - nut ?h - hub ?w - wrench)
    :precondition (and (have ?w) (loose ?n ?h) (not (on-ground ?h)))
    :effect (and (have ?n) (unfastened ?h) (not (loose ?n ?h))))
  (:action do-up
    :parameters (?n - nut ?h - hub ?w - wrench)
    :precondition (and (have ?w) (have ?n) (nut-of ?n ?h) (unfastened ?h) (not (on-ground ?h)))
    :effect (and (loose ?n ?h) (not (have ?n)) (not (unfastened ?h))))
  (:action remove-wheel
    :parameters (?w - wheel ?h - hub)
    :precondition (and (on-hub ?w ?h) (unfastened ?h) (not (on-ground ?h)))
    :effect (and (have ?w) (bare ?h)))
  (:action put-on-wheel
    :parameters (?w - wheel ?h - hub)
    :precondition (and (have ?w) (bare ?h) (unfastened ?h) (not (on-ground ?h)))
    :effect (and (on-hub ?w ?h) (not (have ?w)) (not (bare ?h))))
  (:action inflate
    :parameters (?w - wheel ?p - pump)
    :precondition (and (have ?p) (have ?w) (intact ?w) (not (inflated ?w)))
    :effect (inflated ?w)))
