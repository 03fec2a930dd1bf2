; optimal cost: 13
(define (problem pottery-p4)
  (:domain pottery)
  (:objects
    pot1 pot2 pot3 - pot
    kiln1 - kiln
    kiln1-shelf1 kiln1-shelf2 - shelf)
  (:init
    (shelf-of kiln1-shelf1 kiln1)
    (shelf-of kiln1-shelf2 kiln1)
    (free kiln1-shelf1)
    (free kiln1-shelf2)
    (biscuit pot1)
    (on-bench pot1)
    (biscuit pot2)
    (on-bench pot2)
    (wet pot3)
    (on-bench pot3))
  (:goal (and (finished pot1) (finished pot2) (finished pot3) (on-bench pot1))))
