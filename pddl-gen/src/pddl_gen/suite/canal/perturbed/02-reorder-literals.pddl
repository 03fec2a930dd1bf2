; {"kind": "reorder-literals", "what": "literals and predicates in another order", "equivalent": true, "fails": []}
(define (domain canal)
  (:requirements :strips :typing :negative-preconditions)
  (:types boat lock reach keeper crate - object barge skiff - boat)
  (:predicates
    (joined ?a ?b - reach)
    (vacant ?l - lock)
    (below ?l - lock ?r - reach)
    (inside ?b - boat ?l - lock)
    (above ?l - lock ?r - reach)
    (tends ?k - keeper ?l - lock)
    (moored ?b - boat ?r - reach)
    (laden ?b - barge)
    (wide ?l - lock)
    (in-hold ?c - crate ?b - barge)
    (on-quay ?c - crate ?r - reach)
    (full ?l - lock))
  (:action sail
    :parameters (?b - boat ?from ?to - reach)
    :precondition (and (moored ?b ?from) (joined ?from ?to))
    :effect (and (moored ?b ?to) (not (moored ?b ?from))))
  (:action walk
    :parameters (?k - keeper ?from ?to - lock)
    :precondition (and (tends ?k ?from))
    :effect (and (not (tends ?k ?from)) (tends ?k ?to)))
  (:action fill
    :parameters (?l - lock ?k - keeper)
    :precondition (and (not (full ?l)) (tends ?k ?l))
    :effect (and (full ?l)))
  (:action drain
    :parameters (?l - lock ?k - keeper)
    :precondition (and (full ?l) (tends ?k ?l))
    :effect (and (not (full ?l))))
  (:action enter-from-below
    :parameters (?b - skiff ?l - lock ?r - reach)
    :precondition (and (not (full ?l)) (vacant ?l) (below ?l ?r) (moored ?b ?r))
    :effect (and (not (vacant ?l)) (not (moored ?b ?r)) (inside ?b ?l)))
  (:action enter-from-above
    :parameters (?b - skiff ?l - lock ?r - reach)
    :precondition (and (full ?l) (moored ?b ?r) (vacant ?l) (above ?l ?r))
    :effect (and (not (moored ?b ?r)) (not (vacant ?l)) (inside ?b ?l)))
  (:action barge-enter-from-below
    :parameters (?b - barge ?l - lock ?r - reach)
    :precondition (and (not (full ?l)) (wide ?l) (below ?l ?r) (moored ?b ?r) (vacant ?l))
    :effect (and (not (vacant ?l)) (inside ?b ?l) (not (moored ?b ?r))))
  (:action barge-enter-from-above
    :parameters (?b - barge ?l - lock ?r - reach)
    :precondition (and (moored ?b ?r) (wide ?l) (above ?l ?r) (vacant ?l) (full ?l))
    :effect (and (inside ?b ?l) (not (vacant ?l)) (not (moored ?b ?r))))
  (:action exit-below
    :parameters (?b - boat ?l - lock ?r - reach)
    :precondition (and (below ?l ?r) (inside ?b ?l) (not (full ?l)))
    :effect (and (vacant ?l) (moored ?b ?r) (not (inside ?b ?l))))
  (:action exit-above
    :parameters (?b - boat ?l - lock ?r - reach)
    :precondition (and (above ?l ?r) (full ?l) (inside ?b ?l))
    :effect (and (vacant ?l) (not (inside ?b ?l)) (moored ?b ?r)))
  (:action load
    :parameters (?c - crate ?b - barge ?r - reach)
    :precondition (and (not (laden ?b)) (on-quay ?c ?r) (moored ?b ?r))
    :effect (and (in-hold ?c ?b) (laden ?b) (not (on-quay ?c ?r))))
  (:action unload
    :parameters (?c - crate ?b - barge ?r - reach)
    :precondition (and (in-hold ?c ?b) (moored ?b ?r))
    :effect (and (on-quay ?c ?r) (not (in-hold ?c ?b)) (not (laden ?b)))))
