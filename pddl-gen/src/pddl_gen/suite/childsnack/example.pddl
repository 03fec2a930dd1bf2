(define (problem childsnack-example)
  (:domain childsnack)
  (:objects
    child1 - child
    bread1 - bread
    topping1 - topping
    sandwich1 - sandwich
    tray1 - tray
    table1 - place)
  (:init
    (tray-at tray1 kitchen)
    (bread-in-kitchen bread1)
    (topping-in-kitchen topping1)
    (gluten-free-bread bread1)
    (gluten-free-topping topping1)
    (not-made sandwich1)
    (allergic child1)
    (waiting child1 table1))
  (:goal (and (served child1))))
