; {"kind": "reorder-literals", "what": "literals and predicates in another order", "equivalent": true, "fails": []}
(define (domain barman)
  (:requirements :strips :typing)
  (:types hand level beverage container - object ingredient cocktail - beverage dispenser - object shot shaker - container)
  (:predicates
    (on-table ?c - container)
    (shaker-level ?s - shaker ?l - level)
    (contains ?c - container ?b - beverage)
    (empty ?c - container)
    (part-2 ?c - cocktail ?i - ingredient)
    (holding ?h - hand ?c - container)
    (next ?lower ?higher - level)
    (shaken ?s - shaker)
    (hand-empty ?h - hand)
    (empty-level ?s - shaker ?l - level)
    (clean ?c - container)
    (unshaken ?s - shaker)
    (part-1 ?c - cocktail ?i - ingredient)
    (dispenses ?d - dispenser ?i - ingredient)
    (used ?c - container ?b - beverage))
  (:action grasp
    :parameters (?h - hand ?c - container)
    :precondition (and (on-table ?c) (hand-empty ?h))
    :effect (and (holding ?h ?c) (not (on-table ?c)) (not (hand-empty ?h))))
  (:action leave
    :parameters (?h - hand ?c - container)
    :precondition (and (holding ?h ?c))
    :effect (and (on-table ?c) (hand-empty ?h) (not (holding ?h ?c))))
  (:action fill-shot
    :parameters (?s - shot ?i - ingredient ?h1 ?h2 - hand ?d - dispenser)
    :precondition (and (holding ?h1 ?s) (empty ?s) (dispenses ?d ?i) (clean ?s) (hand-empty ?h2))
    :effect (and (contains ?s ?i) (not (clean ?s)) (used ?s ?i) (not (empty ?s))))
  (:action refill-shot
    :parameters (?s - shot ?i - ingredient ?h1 ?h2 - hand ?d - dispenser)
    :precondition (and (hand-empty ?h2) (empty ?s) (holding ?h1 ?s) (used ?s ?i) (dispenses ?d ?i))
    :effect (and (contains ?s ?i) (not (empty ?s))))
  (:action empty-shot
    :parameters (?h - hand ?s - shot ?b - beverage)
    :precondition (and (holding ?h ?s) (contains ?s ?b))
    :effect (and (empty ?s) (not (contains ?s ?b))))
  (:action clean-shot
    :parameters (?s - shot ?b - beverage ?h1 ?h2 - hand)
    :precondition (and (holding ?h1 ?s) (used ?s ?b) (empty ?s) (hand-empty ?h2))
    :effect (and (clean ?s) (not (used ?s ?b))))
  (:action pour-shot-to-clean-shaker
    :parameters (?s - shot ?i - ingredient ?k - shaker ?h - hand ?l ?m - level)
    :precondition (and (contains ?s ?i) (empty ?k) (next ?l ?m) (clean ?k) (shaker-level ?k ?l) (holding ?h ?s))
    :effect (and (not (shaker-level ?k ?l)) (unshaken ?k) (not (contains ?s ?i)) (empty ?s) (not (empty ?k)) (contains ?k ?i) (shaker-level ?k ?m) (not (clean ?k))))
  (:action pour-shot-to-used-shaker
    :parameters (?s - shot ?i - ingredient ?k - shaker ?h - hand ?l ?m - level)
    :precondition (and (contains ?s ?i) (unshaken ?k) (next ?l ?m) (shaker-level ?k ?l) (holding ?h ?s))
    :effect (and (not (contains ?s ?i)) (contains ?k ?i) (shaker-level ?k ?m) (empty ?s) (not (shaker-level ?k ?l))))
  (:action empty-shaker
    :parameters (?h - hand ?k - shaker ?c - cocktail ?l ?e - level)
    :precondition (and (contains ?k ?c) (empty-level ?k ?e) (holding ?h ?k) (shaken ?k) (shaker-level ?k ?l))
    :effect (and (not (shaker-level ?k ?l)) (empty ?k) (not (contains ?k ?c)) (shaker-level ?k ?e) (not (shaken ?k))))
  (:action clean-shaker
    :parameters (?h1 ?h2 - hand ?k - shaker)
    :precondition (and (empty ?k) (holding ?h1 ?k) (hand-empty ?h2))
    :effect (and (clean ?k)))
  (:action shake
    :parameters (?c - cocktail ?i1 ?i2 - ingredient ?k - shaker ?h1 ?h2 - hand)
    :precondition (and (part-1 ?c ?i1) (part-2 ?c ?i2) (contains ?k ?i2) (contains ?k ?i1) (unshaken ?k) (holding ?h1 ?k) (hand-empty ?h2))
    :effect (and (contains ?k ?c) (not (unshaken ?k)) (not (contains ?k ?i2)) (not (contains ?k ?i1)) (shaken ?k)))
  (:action pour-shaker-to-shot
    :parameters (?b - cocktail ?s - shot ?h - hand ?k - shaker ?l ?m - level)
    :precondition (and (shaken ?k) (holding ?h ?k) (contains ?k ?b) (empty ?s) (next ?m ?l) (clean ?s) (shaker-level ?k ?l))
    :effect (and (not (shaker-level ?k ?l)) (contains ?s ?b) (not (empty ?s)) (shaker-level ?k ?m) (not (clean ?s)))))
