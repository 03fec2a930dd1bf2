; {"kind": "rename-parameters", "what": "all parameters renamed", "equivalent": true, "fails": []}
(define (domain logistics)
  (:requirements :strips :typing)
  (:types place vehicle package city - object airport - place truck airplane - vehicle)
  (:predicates
    (in-city ?p - place ?c - city)
    (at ?v - vehicle ?p - place)
    (lies ?x - package ?p - place)
    (in ?x - package ?v - vehicle))
  (:action load-truck
    :parameters (?p0 - package ?p1 - truck ?p2 - place)
    :precondition (and (lies ?p0 ?p2) (at ?p1 ?p2))
    :effect (and (in ?p0 ?p1) (not (lies ?p0 ?p2))))
  (:action unload-truck
    :parameters (?p0 - package ?p1 - truck ?p2 - place)
    :precondition (and (in ?p0 ?p1) (at ?p1 ?p2))
    :effect (and (lies ?p0 ?p2) (not (in ?p0 ?p1))))
  (:action load-airplane
    :parameters (?p0 - package ?p1 - airplane ?p2 - airport)
    :precondition (and (lies ?p0 ?p2) (at ?p1 ?p2))
    :effect (and (in ?p0 ?p1) (not (lies ?p0 ?p2))))
  (:action unload-airplane
    :parameters (?p0 - package ?p1 - airplane ?p2 - airport)
    :precondition (and (in ?p0 ?p1) (at ?p1 ?p2))
    :effect (and (lies ?p0 ?p2) (not (in ?p0 ?p1))))
  (:action drive-truck
    :parameters (?p0 - truck ?p1 ?p2 - place ?p3 - city)
    :precondition (and (at ?p0 ?p1) (in-city ?p1 ?p3) (in-city ?p2 ?p3))
    :effect (and (at ?p0 ?p2) (not (at ?p0 ?p1))))
  (:action fly-airplane
    :parameters (?p0 - airplane ?p1 ?p2 - airport)
    :precondition (at ?p0 ?p1)
    :effect (and (at ?p0 ?p2) (not (at ?p0 ?p1)))))
