; {"kind": "drop-add", "what": "fly-airplane: effect (at ?a ?to) dropped", "equivalent": false, "fails": ["solvable", "sound", "complete", "cross", "cost_equal", "plan_match", "bisimilar", "same_schemas"]}
(define (domain logistics)
  (:requirements :strips :typing)
  (:types place vehicle package city - object airport - place truck airplane - vehicle)
  (:predicates
    (in-city ?p - place ?c - city)
    (at ?v - vehicle ?p - place)
    (lies ?x - package ?p - place)
    (in ?x - package ?v - vehicle))
  (:action load-truck
    :parameters (?x - package ?t - truck ?p - place)
    :precondition (and (lies ?x ?p) (at ?t ?p))
    :effect (and (in ?x ?t) (not (lies ?x ?p))))
  (:action unload-truck
    :parameters (?x - package ?t - truck ?p - place)
    :precondition (and (in ?x ?t) (at ?t ?p))
    :effect (and (lies ?x ?p) (not (in ?x ?t))))
  (:action load-airplane
    :parameters (?x - package ?a - airplane ?p - airport)
    :precondition (and (lies ?x ?p) (at ?a ?p))
    :effect (and (in ?x ?a) (not (lies ?x ?p))))
  (:action unload-airplane
    :parameters (?x - package ?a - airplane ?p - airport)
    :precondition (and (in ?x ?a) (at ?a ?p))
    :effect (and (lies ?x ?p) (not (in ?x ?a))))
  (:action drive-truck
    :parameters (?t - truck ?from ?to - place ?c - city)
    :precondition (and (at ?t ?from) (in-city ?from ?c) (in-city ?to ?c))
    :effect (and (at ?t ?to) (not (at ?t ?from))))
  (:action fly-airplane
    :parameters (?a - airplane ?from ?to - airport)
    :precondition (at ?a ?from)
    :effect (and (not (at ?a ?from)))))
