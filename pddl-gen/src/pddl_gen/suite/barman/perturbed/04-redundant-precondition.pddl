; {"kind": "redundant-precondition", "what": "clean-shaker: (holding ?h1 ?k) is asked for twice, once as a disjunction", "equivalent": true, "fails": ["same_schemas"]}
(define (domain barman)
  (:requirements :strips :typing :disjunctive-preconditions)
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
    :parameters (?h - hand ?c - container)
    :precondition (and (on-table ?c) (hand-empty ?h))
    :effect (and (holding ?h ?c) (not (on-table ?c)) (not (hand-empty ?h))))
  (:action leave
    :parameters (?h - hand ?c - container)
    :precondition (holding ?h ?c)
    :effect (and (on-table ?c) (hand-empty ?h) (not (holding ?h ?c))))
  (:action fill-shot
    :parameters (?s - shot ?i - ingredient ?h1 ?h2 - hand ?d - dispenser)
    :precondition (and (holding ?h1 ?s) (hand-empty ?h2) (dispenses ?d ?i) (empty ?s) (clean ?s))
    :effect (and (contains ?s ?i) (used ?s ?i) (not (empty ?s)) (not (clean ?s))))
  (:action refill-shot
    :parameters (?s - shot ?i - ingredient ?h1 ?h2 - hand ?d - dispenser)
    :precondition (and (holding ?h1 ?s) (hand-empty ?h2) (dispenses ?d ?i) (empty ?s) (used ?s ?i))
    :effect (and (contains ?s ?i) (not (empty ?s))))
  (:action empty-shot
    :parameters (?h - hand ?s - shot ?b - beverage)
    :precondition (and (holding ?h ?s) (contains ?s ?b))
    :effect (and (empty ?s) (not (contains ?s ?b))))
  (:action clean-shot
    :parameters (?s - shot ?b - beverage ?h1 ?h2 - hand)
    :precondition (and (holding ?h1 ?s) (hand-empty ?h2) (empty ?s) (used ?s ?b))
    :effect (and (clean ?s) (not (used ?s ?b))))
  (:action pour-shot-to-clean-shaker
    :parameters (?s - shot ?i - ingredient ?k - shaker ?h - hand ?l ?m - level)
    :precondition (and (holding ?h ?s) (contains ?s ?i) (empty ?k) (clean ?k) (shaker-level ?k ?l) (next ?l ?m))
    :effect (and (contains ?k ?i) (empty ?s) (unshaken ?k) (shaker-level ?k ?m) (not (contains ?s ?i)) (not (empty ?k)) (not (clean ?k)) (not (shaker-level ?k ?l))))
  (:action pour-shot-to-used-shaker
    :parameters (?s - shot ?i - ingredient ?k - shaker ?h - hand ?l ?m - level)
    :precondition (and (holding ?h ?s) (contains ?s ?i) (unshaken ?k) (shaker-level ?k ?l) (next ?l ?m))
    :effect (and (contains ?k ?i) (empty ?s) (shaker-level ?k ?m) (not (contains ?s ?i)) (not (shaker-level ?k ?l))))
  (:action empty-shaker
    :parameters (?h - hand ?k - shaker ?c - cocktail ?l ?e - level)
    :precondition (and (holding ?h ?k) (contains ?k ?c) (shaken ?k) (shaker-level ?k ?l) (empty-level ?k ?e))
    :effect (and (empty ?k) (shaker-level ?k ?e) (not (shaken ?k)) (not (shaker-level ?k ?l)) (not (contains ?k ?c))))
  (:action clean-shaker
    :parameters (?h1 ?h2 - hand ?k - shaker)
    :precondition (and (holding ?h1 ?k) (hand-empty ?h2) (empty ?k) (or (holding ?h1 ?k) (holding ?h1 ?k)))
    :effect (clean ?k))
  (:action shake
    :parameters (?c - cocktail ?i1 ?i2 - ingredient ?k - shaker ?h1 ?h2 - hand)
    :precondition (and (holding ?h1 ?k) (hand-empty ?h2) (contains ?k ?i1) (contains ?k ?i2) (part-1 ?c ?i1) (part-2 ?c ?i2) (unshaken ?k))
    :effect (and (contains ?k ?c) (shaken ?k) (not (contains ?k ?i1)) (not (contains ?k ?i2)) (not (unshaken ?k))))
  (:action pour-shaker-to-shot
    :parameters (?b - cocktail ?s - shot ?h - hand ?k - shaker ?l ?m - level)
    :precondition (and (holding ?h ?k) (shaken ?k) (empty ?s) (clean ?s) (contains ?k ?b) (shaker-level ?k ?l) (next ?m ?l))
    :effect (and (contains ?s ?b) (shaker-level ?k ?m) (not (empty ?s)) (not (clean ?s)) (not (shaker-level ?k ?l)))))
