; {"kind": "reorder-literals", "what": "literals and predicates in another order", "equivalent": true, "fails": []}
(define (domain childsnack)
  (:requirements :strips :typing :negative-preconditions)
  (:types child bread topping sandwich tray place - object)
  (:constants kitchen - place)
  (:predicates
    (gluten-free-topping ?t - topping)
    (waiting ?c - child ?p - place)
    (served ?c - child)
    (gluten-free-bread ?b - bread)
    (tray-at ?t - tray ?p - place)
    (not-made ?s - sandwich)
    (sandwich-in-kitchen ?s - sandwich)
    (allergic ?c - child)
    (on-tray ?s - sandwich ?t - tray)
    (bread-in-kitchen ?b - bread)
    (topping-in-kitchen ?t - topping)
    (gluten-free-sandwich ?s - sandwich))
  (:action make-sandwich
    :parameters (?s - sandwich ?b - bread ?t - topping)
    :precondition (and (bread-in-kitchen ?b) (topping-in-kitchen ?t) (not-made ?s))
    :effect (and (not (bread-in-kitchen ?b)) (not (not-made ?s)) (not (topping-in-kitchen ?t)) (sandwich-in-kitchen ?s)))
  (:action make-sandwich-gluten-free
    :parameters (?s - sandwich ?b - bread ?t - topping)
    :precondition (and (bread-in-kitchen ?b) (gluten-free-bread ?b) (topping-in-kitchen ?t) (not-made ?s) (gluten-free-topping ?t))
    :effect (and (not (bread-in-kitchen ?b)) (not (topping-in-kitchen ?t)) (gluten-free-sandwich ?s) (not (not-made ?s)) (sandwich-in-kitchen ?s)))
  (:action put-on-tray
    :parameters (?s - sandwich ?t - tray)
    :precondition (and (tray-at ?t kitchen) (sandwich-in-kitchen ?s))
    :effect (and (not (sandwich-in-kitchen ?s)) (on-tray ?s ?t)))
  (:action serve
    :parameters (?s - sandwich ?c - child ?t - tray ?p - place)
    :precondition (and (tray-at ?t ?p) (waiting ?c ?p) (not (served ?c)) (not (allergic ?c)) (on-tray ?s ?t))
    :effect (and (served ?c) (not (on-tray ?s ?t))))
  (:action serve-gluten-free
    :parameters (?s - sandwich ?c - child ?t - tray ?p - place)
    :precondition (and (waiting ?c ?p) (tray-at ?t ?p) (on-tray ?s ?t) (allergic ?c) (gluten-free-sandwich ?s) (not (served ?c)))
    :effect (and (not (on-tray ?s ?t)) (served ?c)))
  (:action move-tray
    :parameters (?t - tray ?from ?to - place)
    :precondition (and (tray-at ?t ?from))
    :effect (and (tray-at ?t ?to) (not (tray-at ?t ?from)))))
