; optimal cost: 18
(define (problem logistics-p2)
  (:domain logistics)
  (:objects
    city1 city2 - city
    city1-airport city2-airport - airport
    city1-office city1-shop city2-office city2-shop - place
    truck1 truck2 - truck
    plane1 - airplane
    package1 package2 - package)
  (:init
    (in-city city1-airport city1)
    (in-city city2-airport city2)
    (in-city city1-office city1)
    (in-city city1-shop city1)
    (in-city city2-office city2)
    (in-city city2-shop city2)
    (at truck1 city1-shop)
    (at truck2 city2-office)
    (at plane1 city1-airport)
    (lies package1 city1-office)
    (lies package2 city1-office))
  (:goal (and (lies package1 city2-shop) (lies package2 city2-office))))
