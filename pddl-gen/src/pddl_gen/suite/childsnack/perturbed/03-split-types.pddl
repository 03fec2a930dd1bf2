; {"kind": "split-types", "what": "a type between sandwich and its parent", "equivalent": true, "fails": ["same_schemas"]}
(define (domain childsnack)
  (:requirements :strips :typing :negative-preconditions)
  (:types child bread topping - object sandwich - sandwich-base tray place sandwich-base - object)
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
    :parameters (?s - sandwich ?b - bread ?t - topping)
    :precondition (and (not-made ?s) (bread-in-kitchen ?b) (topping-in-kitchen ?t))
    :effect (and (sandwich-in-kitchen ?s) (not (not-made ?s)) (not (bread-in-kitchen ?b)) (not (topping-in-kitchen ?t))))
  (:action make-sandwich-gluten-free
    :parameters (?s - sandwich ?b - bread ?t - topping)
    :precondition (and (not-made ?s) (bread-in-kitchen ?b) (topping-in-kitchen ?t) (gluten-free-bread ?b) (gluten-free-topping ?t))
    :effect (and (sandwich-in-kitchen ?s) (gluten-free-sandwich ?s) (not (not-made ?s)) (not (bread-in-kitchen ?b)) (not (topping-in-kitchen ?t))))
  (:action put-on-tray
    :parameters (?s - sandwich ?t - tray)
    :precondition (and (sandwich-in-kitchen ?s) (tray-at ?t kitchen))
    :effect (and (on-tray ?s ?t) (not (sandwich-in-kitchen ?s))))
  (:action serve
    :parameters (?s - sandwich ?c - child ?t - tray ?p - place)
    :precondition (and (on-tray ?s ?t) (tray-at ?t ?p) (waiting ?c ?p) (not (allergic ?c)) (not (served ?c)))
    :effect (and (served ?c) (not (on-tray ?s ?t))))
  (:action serve-gluten-free
    :parameters (?s - sandwich ?c - child ?t - tray ?p - place)
    :precondition (and (on-tray ?s ?t) (tray-at ?t ?p) (waiting ?c ?p) (allergic ?c) (gluten-free-sandwich ?s) (not (served ?c)))
    :effect (and (served ?c) (not (on-tray ?s ?t))))
  (:action move-tray
    :parameters (?t - tray ?from ?to - place)
    :precondition (tray-at ?t ?from)
    :effect (and (tray-at ?t ?to) (not (tray-at ?t ?from)))))
