; optimal cost: 10
(define (problem childsnack-p3)
  (:domain childsnack)
  (:objects
    child1 child2 child3 - child
    bread1 bread2 bread3 - bread
    topping1 topping2 topping3 - topping
    sandwich1 sandwich2 sandwich3 - sandwich
    tray1 - tray
    table1 table2 - place)
  (:init
    (tray-at tray1 kitchen)
    (bread-in-kitchen bread1)
    (bread-in-kitchen bread2)
    (bread-in-kitchen bread3)
    (topping-in-kitchen topping1)
    (topping-in-kitchen topping2)
    (topping-in-kitchen topping3)
    (gluten-free-bread bread1)
    (gluten-free-topping topping1)
    (not-made sandwich1)
    (not-made sandwich2)
    (not-made sandwich3)
    (allergic child2)
    (waiting child1 table1)
    (waiting child2 table1)
    (waiting child3 table1))
  (:goal (and (served child1) (served child2) (served child3))))
