; {"kind": "rename-parameters", "what": "all parameters renamed", "equivalent": true, "fails": []}
(define (domain elevator)
  (:requirements :strips :typing)
  (:types passenger floor - object)
  (:predicates
    (lift-at ?f - floor)
    (above ?lower ?upper - floor)
    (origin ?p - passenger ?f - floor)
    (destination ?p - passenger ?f - floor)
    (boarded ?p - passenger)
    (served ?p - passenger))
  (:action board
    :parameters (?p0 - passenger ?p1 - floor)
    :precondition (and (lift-at ?p1) (origin ?p0 ?p1))
    :effect (boarded ?p0))
  (:action depart
    :parameters (?p0 - passenger ?p1 - floor)
    :precondition (and (lift-at ?p1) (destination ?p0 ?p1) (boarded ?p0))
    :effect (and (served ?p0) (not (boarded ?p0))))
  (:action up
    :parameters (?p0 ?p1 - floor)
    :precondition (and (lift-at ?p0) (above ?p0 ?p1))
    :effect (and (lift-at ?p1) (not (lift-at ?p0))))
  (:action down
    :parameters (?p0 ?p1 - floor)
    :precondition (and (lift-at ?p0) (above ?p1 ?p0))
    :effect (and (lift-at ?p1) (not (lift-at ?p0)))))
