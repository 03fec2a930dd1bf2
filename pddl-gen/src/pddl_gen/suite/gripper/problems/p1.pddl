; optimal cost: 8
(define (problem gripper-p1)
  (:domain gripper)
  (:objects
    room1 room2 - room
    ball1 ball2 ball3 - ball
    left right - gripper)
  (:init
    (robot-at room2)
    (free left)
    (free right)
    (at ball1 room1)
    (at ball2 room2)
    (at ball3 room2))
  (:goal (and (at ball1 room2) (at ball2 room1) (at ball3 room1))))
