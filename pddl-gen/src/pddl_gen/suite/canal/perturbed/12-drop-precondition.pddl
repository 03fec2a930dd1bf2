; {"kind": "drop-precondition", "what": "unload: precondition (moored ?b ?r) dropped", "equivalent": false, "fails": ["sound", "cross", "cost_equal", "plan_match", "bisimilar", "same_schemas"]}
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
    :parameters (?b - boat ?from ?to - reach)
    :precondition (and (moored ?b ?from) (joined ?from ?to))
    :effect (and (moored ?b ?to) (not (moored ?b ?from))))
  (:action walk
    :parameters (?k - keeper ?from ?to - lock)
    :precondition (tends ?k ?from)
    :effect (and (tends ?k ?to) (not (tends ?k ?from))))
  (:action fill
    :parameters (?l - lock ?k - keeper)
    :precondition (and (tends ?k ?l) (not (full ?l)))
    :effect (full ?l))
  (:action drain
    :parameters (?l - lock ?k - keeper)
    :precondition (and (tends ?k ?l) (full ?l))
    :effect (not (full ?l)))
  (:action enter-from-below
    :parameters (?b - skiff ?l - lock ?r - reach)
    :precondition (and (moored ?b ?r) (below ?l ?r) (vacant ?l) (not (full ?l)))
    :effect (and (inside ?b ?l) (not (moored ?b ?r)) (not (vacant ?l))))
  (:action enter-from-above
    :parameters (?b - skiff ?l - lock ?r - reach)
    :precondition (and (moored ?b ?r) (above ?l ?r) (vacant ?l) (full ?l))
    :effect (and (inside ?b ?l) (not (moored ?b ?r)) (not (vacant ?l))))
  (:action barge-enter-from-below
    :parameters (?b - barge ?l - lock ?r - reach)
    :precondition (and (moored ?b ?r) (below ?l ?r) (wide ?l) (vacant ?l) (not (full ?l)))
    :effect (and (inside ?b ?l) (not (moored ?b ?r)) (not (vacant ?l))))
  (:action barge-enter-from-above
    :parameters (?b - barge ?l - lock ?r - reach)
    :precondition (and (moored ?b ?r) (above ?l ?r) (wide ?l) (vacant ?l) (full ?l))
    :effect (and (inside ?b ?l) (not (moored ?b ?r)) (not (vacant ?l))))
  (:action exit-below
    :parameters (?b - boat ?l - lock ?r - reach)
    :precondition (and (inside ?b ?l) (below ?l ?r) (not (full ?l)))
    :effect (and (moored ?b ?r) (vacant ?l) (not (inside ?b ?l))))
  (:action exit-above
    :parameters (?b - boat ?l - lock ?r - reach)
    :precondition (and (inside ?b ?l) (above ?l ?r) (full ?l))
    :effect (and (moored ?b ?r) (vacant ?l) (not (inside ?b ?l))))
  (:action load
    :parameters (?c - crate ?b - barge ?r - reach)
    :precondition (and (on-quay ?c ?r) (moored ?b ?r) (not (laden ?b)))
    :effect (and (in-hold ?c ?b) (laden ?b) (not (on-quay ?c ?r))))
  (:action unload
    :parameters (?c - crate ?b - barge ?r - reach)
    :precondition (and (in-hold ?c ?b))
    :effect (and (on-quay ?c ?r) (not (in-hold ?c ?b)) (not (laden ?b)))))
