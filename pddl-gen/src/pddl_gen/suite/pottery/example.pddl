(define (problem pottery-example)
  (:domain pottery)
  (:objects
    pot1 pot2 pot3 pot4 - pot
    kiln1 - kiln
    kiln1-shelf1 - shelf)
  (:init
    (shelf-of kiln1-shelf1 kiln1)
    (free kiln1-shelf1)
    (hot kiln1)
    (clay pot1)
    (on-bench pot1)
    (wet pot2)
    (on-bench pot2)
    (dry pot3)
    (on-bench pot3)
    (biscuit pot4)
    (on-bench pot4))
  (:goal (and (finished pot1) (finished pot2) (finished pot3) (finished pot4) (on-bench pot2))))
