; {"kind": "reorder-literals", "what": "literals and predicates in another order", "equivalent": true, "fails": []}
(define (domain elevator)
  (:requirements :strips :typing)
  (:types passenger floor - object)
  (:predicates
    (above ?lower ?upper - floor)
    (served ?p - passenger)
    (boarded ?p - passenger)
    (origin ?p - passenger ?f - floor)
    (destination ?p - passenger ?f - floor)
    (lift-at ?f - floor))
  (:action board
    :parameters (?p - passenger ?f - floor)
    :precondition (and (lift-at ?f) (origin ?p ?f))
    :effect (and (boarded ?p)))
  (:action depart
    :parameters (?p - passenger ?f - floor)
    :precondition (and (lift-at ?f) (boarded ?p) (destination ?p ?f))
    :effect (and (served ?p) (not (boarded ?p))))
  (:action up
    :parameters (?from ?to - floor)
    :precondition (and (lift-at ?from) (above ?from ?to))
    :effect (and (not (lift-at ?from)) (lift-at ?to)))
  (:action down
    :parameters (?from ?to - floor)
    :precondition (and (lift-at ?from) (above ?to ?from))
    :effect (and (not (lift-at ?from)) (lift-at ?to))))
