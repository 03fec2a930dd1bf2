; {"kind": "rename-parameters", "what": "all parameters renamed", "equivalent": true, "fails": []}
(define (domain childsnack)
  (:requirements :strips :typing :negative-preconditions)
  (:types child bread topping sandwich tray place - object)
  (:constants kitchen - place)
  (:predicates
    (bread-in-kitchen ?b - bread)
    (topping-in-kitchen ?t - topping)
    (sandwich-in-kitchen ?s - sandwich)
    (gluten-free-bread ?b - bread)
    (gluten-free-topping ?t - topping)
    (gluten-free-sandwich ?s - sandwich)
    (not-made ?s - sandwich)
    (on-tray ?s - sandwich ?t - tray)
    (tray-at ?t - tray ?p - place)
    (allergic ?c - child)
    (waiting ?c - child ?p - place)
    (served ?c - child))
  (:action make-sandwich
    :parameters (?p0 - sandwich ?p1 - bread ?p2 - topping)
    :precondition (and (not-made ?p0) (bread-in-kitchen ?p1) (topping-in-kitchen ?p2))
    :effect (and (sandwich-in-kitchen ?p0) (not (not-made ?p0)) (not (bread-in-kitchen ?p1)) (not (topping-in-kitchen ?p2))))
  (:action make-sandwich-gluten-free
    :parameters (?p0 - sandwich ?p1 - bread ?p2 - topping)
    :precondition (and (not-made ?p0) (bread-in-kitchen ?p1) (topping-in-kitchen ?p2) (gluten-free-bread ?p1) (gluten-free-topping ?p2))
    :effect (and (sandwich-in-kitchen ?p0) (gluten-free-sandwich ?p0) (not (not-made ?p0)) (not (bread-in-kitchen ?p1)) (not (topping-in-kitchen ?p2))))
  (:action put-on-tray
    :parameters (?p0 - sandwich ?p1 - tray)
    :precondition (and (sandwich-in-kitchen ?p0) (tray-at ?p1 kitchen))
    :effect (and (on-tray ?p0 ?p1) (not (sandwich-in-kitchen ?p0))))
  (:action serve
    :parameters (?p0 - sandwich ?p1 - child ?p2 - tray ?p3 - place)
    :precondition (and (on-tray ?p0 ?p2) (tray-at ?p2 ?p3) (waiting ?p1 ?p3) (not (allergic ?p1)) (not (served ?p1)))
    :effect (and (served ?p1) (not (on-tray ?p0 ?p2))))
  (:action serve-gluten-free
    :parameters (?p0 - sandwich ?p1 - child ?p2 - tray ?p3 - place)
    :precondition (and (on-tray ?p0 ?p2) (tray-at ?p2 ?p3) (waiting ?p1 ?p3) (allergic ?p1) (gluten-free-sandwich ?p0) (not (served ?p1)))
    :effect (and (served ?p1) (not (on-tray ?p0 ?p2))))
  (:action move-tray
    :parameters (?p0 - tray ?p1 ?p2 - place)
    :precondition (tray-at ?p0 ?p1)
    :effect (and (tray-at ?p0 ?p2) (not (tray-at ?p0 ?p1)))))
