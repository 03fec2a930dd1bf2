; {"kind": "rename-parameters", "what": "all parameters renamed", "equivalent": true, "fails": []}
(define (domain barman)
  (:requirements :strips :typing)
  (:types hand level beverage container - object ingredient cocktail - beverage dispenser - object shot shaker - container)
  (:predicates
    (on-table ?c - container)
    (holding ?h - hand ?c - container)
    (hand-empty ?h - hand)
    (empty ?c - container)
    (contains ?c - container ?b - beverage)
    (clean ?c - container)
    (used ?c - container ?b - beverage)
    (dispenses ?d - dispenser ?i - ingredient)
    (shaker-level ?s - shaker ?l - level)
    (empty-level ?s - shaker ?l - level)
    (next ?lower ?higher - level)
    (unshaken ?s - shaker)
    (shaken ?s - shaker)
    (part-1 ?c - cocktail ?i - ingredient)
    (part-2 ?c - cocktail ?i - ingredient))
  (:action grasp
    :parameters (?p0 - hand ?p1 - container)
    :precondition (and (on-table ?p1) (hand-empty ?p0))
    :effect (and (holding ?p0 ?p1) (not (on-table ?p1)) (not (hand-empty ?p0))))
  (:action leave
    :parameters (?p0 - hand ?p1 - container)
    :precondition (holding ?p0 ?p1)
    :effect (and (on-table ?p1) (hand-empty ?p0) (not (holding ?p0 ?p1))))
  (:action fill-shot
    :parameters (?p0 - shot ?p1 - ingredient ?p2 ?p3 - hand ?p4 - dispenser)
    :precondition (and (holding ?p2 ?p0) (hand-empty ?p3) (dispenses ?p4 ?p1) (empty ?p0) (clean ?p0))
    :effect (and (contains ?p0 ?p1) (used ?p0 ?p1) (not (empty ?p0)) (not (clean ?p0))))
  (:action refill-shot
    :parameters (?p0 - shot ?p1 - ingredient ?p2 ?p3 - hand ?p4 - dispenser)
    :precondition (and (holding ?p2 ?p0) (hand-empty ?p3) (dispenses ?p4 ?p1) (empty ?p0) (used ?p0 ?p1))
    :effect (and (contains ?p0 ?p1) (not (empty ?p0))))
  (:action empty-shot
    :parameters (?p0 - hand ?p1 - shot ?p2 - beverage)
    :precondition (and (holding ?p0 ?p1) (contains ?p1 ?p2))
    :effect (and (empty ?p1) (not (contains ?p1 ?p2))))
  (:action clean-shot
    :parameters (?p0 - shot ?p1 - beverage ?p2 ?p3 - hand)
    :precondition (and (holding ?p2 ?p0) (hand-empty ?p3) (empty ?p0) (used ?p0 ?p1))
    :effect (and (clean ?p0) (not (used ?p0 ?p1))))
  (:action pour-shot-to-clean-shaker
    :parameters (?p0 - shot ?p1 - ingredient ?p2 - shaker ?p3 - hand ?p4 ?p5 - level)
    :precondition (and (holding ?p3 ?p0) (contains ?p0 ?p1) (empty ?p2) (clean ?p2) (shaker-level ?p2 ?p4) (next ?p4 ?p5))
    :effect (and (contains ?p2 ?p1) (empty ?p0) (unshaken ?p2) (shaker-level ?p2 ?p5) (not (contains ?p0 ?p1)) (not (empty ?p2)) (not (clean ?p2)) (not (shaker-level ?p2 ?p4))))
  (:action pour-shot-to-used-shaker
    :parameters (?p0 - shot ?p1 - ingredient ?p2 - shaker ?p3 - hand ?p4 ?p5 - level)
    :precondition (and (holding ?p3 ?p0) (contains ?p0 ?p1) (unshaken ?p2) (shaker-level ?p2 ?p4) (next ?p4 ?p5))
    :effect (and (contains ?p2 ?p1) (empty ?p0) (shaker-level ?p2 ?p5) (not (contains ?p0 ?p1)) (not (shaker-level ?p2 ?p4))))
  (:action empty-shaker
    :parameters (?p0 - hand ?p1 - shaker ?p2 - cocktail ?p3 ?p4 - level)
    :precondition (and (holding ?p0 ?p1) (contains ?p1 ?p2) (shaken ?p1) (shaker-level ?p1 ?p3) (empty-level ?p1 ?p4))
    :effect (and (empty ?p1) (shaker-level ?p1 ?p4) (not (shaken ?p1)) (not (shaker-level ?p1 ?p3)) (not (contains ?p1 ?p2))))
  (:action clean-shaker
    :parameters (?p0 ?p1 - hand ?p2 - shaker)
    :precondition (and (holding ?p0 ?p2) (hand-empty ?p1) (empty ?p2))
    :effect (clean ?p2))
  (:action shake
    :parameters (?p0 - cocktail ?p1 ?p2 - ingredient ?p3 - shaker ?p4 ?p5 - hand)
    :precondition (and (holding ?p4 ?p3) (hand-empty ?p5) (contains ?p3 ?p1) (contains ?p3 ?p2) (part-1 ?p0 ?p1) (part-2 ?p0 ?p2) (unshaken ?p3))
    :effect (and (contains ?p3 ?p0) (shaken ?p3) (not (contains ?p3 ?p1)) (not (contains ?p3 ?p2)) (not (unshaken ?p3))))
  (:action pour-shaker-to-shot
    :parameters (?p0 - cocktail ?p1 - shot ?p2 - hand ?p3 - shaker ?p4 ?p5 - level)
    :precondition (and (holding ?p2 ?p3) (shaken ?p3) (empty ?p1) (clean ?p1) (contains ?p3 ?p0) (shaker-level ?p3 ?p4) (next ?p5 ?p4))
    :effect (and (contains ?p1 ?p0) (shaker-level ?p3 ?p5) (not (empty ?p1)) (not (clean ?p1)) (not (shaker-level ?p3 ?p4)))))
