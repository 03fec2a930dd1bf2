; optimal cost: 19
(define (problem logistics-p4)
  (:domain logistics)
  (:objects
    city1 city2 city3 - city
    city1-airport city2-airport city3-airport - airport
    city1-office city2-office city3-office - place
    truck1 truck2 truck3 - truck
    plane1 - airplane
    package1 package2 - package)
  (:init
    (in-city city1-airport city1)
    (in-city city2-airport city2)
    (in-city city3-airport city3)
    (in-city city1-office city1)
    (in-city city2-office city2)
    (in-city city3-office city3)
    (at truck1 city1-airport)
    (at truck2 city2-airport)
    (at truck3 city3-airport)
    (at plane1 city1-airport)
    (lies package1 city2-office)
    (lies package2 city2-office))
  (:goal (and (lies package1 city1-office) (lies package2 city3-office))))
