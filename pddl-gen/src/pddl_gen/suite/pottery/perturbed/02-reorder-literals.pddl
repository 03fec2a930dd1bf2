; {"kind": "reorder-literals", "what": "literals and predicates in another order", "equivalent": true, "fails": []}
(define (domain pottery)
  (:requirements :strips :typing :negative-preconditions :conditional-effects :universal-preconditions)
  (:types pot kiln shelf - object)
  (:predicates
    (cracked ?p - pot)
    (shelf-of ?s - shelf ?k - kiln)
    (wet ?p - pot)
    (glazed ?p - pot)
    (standing ?p - pot ?s - shelf)
    (hot ?k - kiln)
    (free ?s - shelf)
    (dry ?p - pot)
    (finished ?p - pot)
    (biscuit ?p - pot)
    (clay ?p - pot)
    (on-bench ?p - pot))
  (:action throw
    :parameters (?p - pot)
    :precondition (and (clay ?p) (on-bench ?p))
    :effect (and (not (clay ?p)) (wet ?p)))
  (:action air
    :parameters (?p - pot)
    :precondition (and (wet ?p) (on-bench ?p))
    :effect (and (not (wet ?p)) (dry ?p)))
  (:action glaze
    :parameters (?p - pot)
    :precondition (and (biscuit ?p) (on-bench ?p))
    :effect (and (glazed ?p) (not (biscuit ?p))))
  (:action load
    :parameters (?p - pot ?s - shelf ?k - kiln)
    :precondition (and (on-bench ?p) (free ?s) (not (hot ?k)) (shelf-of ?s ?k) (not (clay ?p)))
    :effect (and (standing ?p ?s) (not (on-bench ?p)) (not (free ?s))))
  (:action unload
    :parameters (?p - pot ?s - shelf ?k - kiln)
    :precondition (and (standing ?p ?s) (not (hot ?k)) (shelf-of ?s ?k))
    :effect (and (free ?s) (on-bench ?p) (not (standing ?p ?s))))
  (:action fire
    :parameters (?k - kiln)
    :precondition (and (not (hot ?k)))
    :effect (and (forall (?p - pot ?s - shelf) (when (and (standing ?p ?s) (shelf-of ?s ?k) (glazed ?p)) (and (finished ?p) (not (glazed ?p))))) (forall (?p - pot ?s - shelf) (when (and (standing ?p ?s) (shelf-of ?s ?k) (dry ?p)) (and (biscuit ?p) (not (dry ?p))))) (forall (?p - pot ?s - shelf) (when (and (standing ?p ?s) (shelf-of ?s ?k) (wet ?p)) (and (cracked ?p) (not (wet ?p))))) (hot ?k)))
  (:action cool
    :parameters (?k - kiln)
    :precondition (and (hot ?k))
    :effect (and (not (hot ?k))))
  (:action crush
    :parameters (?p - pot)
    :precondition (and (on-bench ?p) (cracked ?p))
    :effect (and (clay ?p) (not (cracked ?p)))))
