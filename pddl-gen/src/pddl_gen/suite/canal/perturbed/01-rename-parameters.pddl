; {"kind": "rename-parameters", "what": "all parameters renamed", "equivalent": true, "fails": []}
(define (domain canal)
  (:requirements :strips :typing :negative-preconditions)
  (:types boat lock reach keeper crate - object barge skiff - boat)
  (:predicates
    (moored ?b - boat ?r - reach)
    (inside ?b - boat ?l - lock)
    (below ?l - lock ?r - reach)
    (above ?l - lock ?r - reach)
    (joined ?a ?b - reach)
    (full ?l - lock)
    (vacant ?l - lock)
    (wide ?l - lock)
    (tends ?k - keeper ?l - lock)
    (on-quay ?c - crate ?r - reach)
    (in-hold ?c - crate ?b - barge)
    (laden ?b - barge))
  (:action sail
    :parameters (?p0 - boat ?p1 ?p2 - reach)
    :precondition (and (moored ?p0 ?p1) (joined ?p1 ?p2))
    :effect (and (moored ?p0 ?p2) (not (moored ?p0 ?p1))))
  (:action walk
    :parameters (?p0 - keeper ?p1 ?p2 - lock)
    :precondition (tends ?p0 ?p1)
    :effect (and (tends ?p0 ?p2) (not (tends ?p0 ?p1))))
  (:action fill
    :parameters (?p0 - lock ?p1 - keeper)
    :precondition (and (tends ?p1 ?p0) (not (full ?p0)))
    :effect (full ?p0))
  (:action drain
    :parameters (?p0 - lock ?p1 - keeper)
    :precondition (and (tends ?p1 ?p0) (full ?p0))
    :effect (not (full ?p0)))
  (:action enter-from-below
    :parameters (?p0 - skiff ?p1 - lock ?p2 - reach)
    :precondition (and (moored ?p0 ?p2) (below ?p1 ?p2) (vacant ?p1) (not (full ?p1)))
    :effect (and (inside ?p0 ?p1) (not (moored ?p0 ?p2)) (not (vacant ?p1))))
  (:action enter-from-above
    :parameters (?p0 - skiff ?p1 - lock ?p2 - reach)
    :precondition (and (moored ?p0 ?p2) (above ?p1 ?p2) (vacant ?p1) (full ?p1))
    :effect (and (inside ?p0 ?p1) (not (moored ?p0 ?p2)) (not (vacant ?p1))))
  (:action barge-enter-from-below
    :parameters (?p0 - barge ?p1 - lock ?p2 - reach)
    :precondition (and (moored ?p0 ?p2) (below ?p1 ?p2) (wide ?p1) (vacant ?p1) (not (full ?p1)))
    :effect (and (inside ?p0 ?p1) (not (moored ?p0 ?p2)) (not (vacant ?p1))))
  (:action barge-enter-from-above
    :parameters (?p0 - barge ?p1 - lock ?p2 - reach)
    :precondition (and (moored ?p0 ?p2) (above ?p1 ?p2) (wide ?p1) (vacant ?p1) (full ?p1))
    :effect (and (inside ?p0 ?p1) (not (moored ?p0 ?p2)) (not (vacant ?p1))))
  (:action exit-below
    :parameters (?p0 - boat ?p1 - lock ?p2 - reach)
    :precondition (and (inside ?p0 ?p1) (below ?p1 ?p2) (not (full ?p1)))
    :effect (and (moored ?p0 ?p2) (vacant ?p1) (not (inside ?p0 ?p1))))
  (:action exit-above
    :parameters (?p0 - boat ?p1 - lock ?p2 - reach)
    :precondition (and (inside ?p0 ?p1) (above ?p1 ?p2) (full ?p1))
    :effect (and (moored ?p0 ?p2) (vacant ?p1) (not (inside ?p0 ?p1))))
  (:action load
    :parameters (?p0 - crate ?p1 - barge ?p2 - reach)
    :precondition (and (on-quay ?p0 ?p2) (moored ?p1 ?p2) (not (laden ?p1)))
    :effect (and (in-hold ?p0 ?p1) (laden ?p1) (not (on-quay ?p0 ?p2))))
  (:action unload
    :parameters (?p0 - crate ?p1 - barge ?p2 - reach)
    :precondition (and (in-hold ?p0 ?p1) (moored ?p1 ?p2))
    :effect (and (on-quay ?p0 ?p2) (not (in-hold ?p0 ?p1)) (not (laden ?p1)))))
