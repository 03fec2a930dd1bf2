; optimal cost: 8
(define (problem childsnack-p1)
  (:domain childsnack)
  (:objects
    child1 child2 - child
    bread1 bread2 - bread
    topping1 topping2 - topping
    sandwich1 sandwich2 - sandwich
    tray1 - tray
    table1 table2 - place)
  (:init
    (tray-at tray1 kitchen)
    (bread-in-kitchen bread1)
    (bread-in-kitchen bread2)
    (topping-in-kitchen topping1)
    (topping-in-kitchen topping2)
    (gluten-free-bread bread2)
    (gluten-free-topping topping2)
    (not-made sandwich1)
    (not-made sandwich2)
    (allergic child1)
    (waiting child1 table2)
    (waiting child2 table1))
  (:goal (and (served child1) (served child2))))
