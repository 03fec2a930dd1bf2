(define (problem barman-example)
  (:domain barman)
  (:objects
    left right - hand
    l0 l1 l2 - level
    ingredient1 ingredient2 - ingredient
    cocktail1 - cocktail
    dispenser1 dispenser2 - dispenser
    shot1 - shot
    shaker1 - shaker)
  (:init
    (on-table shot1)
    (on-table shaker1)
    (hand-empty left)
    (hand-empty right)
    (clean shot1)
    (empty shot1)
    (clean shaker1)
    (empty shaker1)
    (dispenses dispenser1 ingredient1)
    (dispenses dispenser2 ingredient2)
    (shaker-level shaker1 l0)
    (empty-level shaker1 l0)
    (next l0 l1)
    (next l1 l2)
    (part-1 cocktail1 ingredient2)
    (part-2 cocktail1 ingredient1))
  (:goal (and (contains shot1 ingredient1))))
