; {"kind": "reorder-literals", "what": "literals and predicates in another order", "equivalent": true, "fails": []}
(define (domain tyreworld)
  (:requirements :strips :typing :negative-preconditions)
  (:types thing container hub - object wheel nut tool - thing wrench jack pump - tool)
  (:predicates
    (inflated ?w - wheel)
    (tight ?n - nut ?h - hub)
    (on-hub ?w - wheel ?h - hub)
    (nut-of ?n - nut ?h - hub)
    (loose ?n - nut ?h - hub)
    (bare ?h - hub)
    (open ?c - container)
    (have ?x - thing)
    (unfastened ?h - hub)
    (in ?x - thing ?c - container)
    (intact ?w - wheel)
    (on-ground ?h - hub)
    (raised-by ?h - hub ?j - jack))
  (:action open-boot
    :parameters (?c - container)
    :precondition (and (not (open ?c)))
    :effect (and (open ?c)))
  (:action close-boot
    :parameters (?c - container)
    :precondition (and (open ?c))
    :effect (and (not (open ?c))))
  (:action fetch
    :parameters (?x - thing ?c - container)
    :precondition (and (in ?x ?c) (open ?c))
    :effect (and (have ?x) (not (in ?x ?c))))
  (:action put-away
    :parameters (?x - thing ?c - container)
    :precondition (and (open ?c) (have ?x))
    :effect (and (not (have ?x)) (in ?x ?c)))
  (:action loosen
    :parameters (?n - nut ?h - hub ?w - wrench)
    :precondition (and (on-ground ?h) (have ?w) (tight ?n ?h))
    :effect (and (loose ?n ?h) (not (tight ?n ?h))))
  (:action tighten
    :parameters (?n - nut ?h - hub ?w - wrench)
    :precondition (and (loose ?n ?h) (on-ground ?h) (have ?w))
    :effect (and (tight ?n ?h) (not (loose ?n ?h))))
  (:action jack-up
    :parameters (?h - hub ?j - jack)
    :precondition (and (on-ground ?h) (have ?j))
    :effect (and (not (have ?j)) (not (on-ground ?h)) (raised-by ?h ?j)))
  (:action jack-down
    :parameters (?h - hub ?j - jack)
    :precondition (and (raised-by ?h ?j))
    :effect (and (not (raised-by ?h ?j)) (have ?j) (on-ground ?h)))
  (:action undo
    :parameters (?n - nut ?h - hub ?w - wrench)
    :precondition (and (not (on-ground ?h)) (have ?w) (loose ?n ?h))
    :effect (and (unfastened ?h) (not (loose ?n ?h)) (have ?n)))
  (:action do-up
    :parameters (?n - nut ?h - hub ?w - wrench)
    :precondition (and (unfastened ?h) (have ?w) (nut-of ?n ?h) (not (on-ground ?h)) (have ?n))
    :effect (and (loose ?n ?h) (not (unfastened ?h)) (not (have ?n))))
  (:action remove-wheel
    :parameters (?w - wheel ?h - hub)
    :precondition (and (not (on-ground ?h)) (on-hub ?w ?h) (unfastened ?h))
    :effect (and (not (on-hub ?w ?h)) (bare ?h) (have ?w)))
  (:action put-on-wheel
    :parameters (?w - wheel ?h - hub)
    :precondition (and (unfastened ?h) (not (on-ground ?h)) (have ?w) (bare ?h))
    :effect (and (not (have ?w)) (on-hub ?w ?h) (not (bare ?h))))
  (:action inflate
    :parameters (?w - wheel ?p - pump)
    :precondition (and (have ?p) (intact ?w) (not (inflated ?w)) (have ?w))
    :effect (and (inflated ?w))))
