; {"kind": "drop-delete", "what": "glaze: effect (not (biscuit ?p)) dropped", "equivalent": false, "fails": ["bisimilar", "same_schemas"]}
(define (domain pottery)
  (:requirements :strips :typing :negative-preconditions :conditional-effects :universal-preconditions)
  (:types pot kiln shelf - object)
  (:predicates
    (clay ?p - pot)
    (wet ?p - pot)
    (dry ?p - pot)
    (biscuit ?p - pot)
    (glazed ?p - pot)
    (finished ?p - pot)
    (cracked ?p - pot)
    (on-bench ?p - pot)
    (standing ?p - pot ?s - shelf)
    (free ?s - shelf)
    (shelf-of ?s - shelf ?k - kiln)
    (hot ?k - kiln))
  (:action throw
    :parameters (?p - pot)
    :precondition (and (clay ?p) (on-bench ?p))
    :effect (and (wet ?p) (not (clay ?p))))
  (:action air
    :parameters (?p - pot)
    :precondition (and (wet ?p) (on-bench ?p))
    :effect (and (dry ?p) (not (wet ?p))))
  (:action glaze
    :parameters (?p - pot)
    :precondition (and (biscuit ?p) (on-bench ?p))
    :effect (and (glazed ?p)))
  (:action load
    :parameters (?p - pot ?s - shelf ?k - kiln)
    :precondition (and (on-bench ?p) (free ?s) (shelf-of ?s ?k) (not (hot ?k)) (not (clay ?p)))
    :effect (and (standing ?p ?s) (not (on-bench ?p)) (not (free ?s))))
  (:action unload
    :parameters (?p - pot ?s - shelf ?k - kiln)
    :precondition (and (standing ?p ?s) (shelf-of ?s ?k) (not (hot ?k)))
    :effect (and (on-bench ?p) (free ?s) (not (standing ?p ?s))))
  (:action fire
    :parameters (?k - kiln)
    :precondition (not (hot ?k))
    :effect (and (hot ?k) (forall (?p - pot ?s - shelf) (when (and (standing ?p ?s) (shelf-of ?s ?k) (wet ?p)) (and (cracked ?p) (not (wet ?p))))) (forall (?p - pot ?s - shelf) (when (and (standing ?p ?s) (shelf-of ?s ?k) (dry ?p)) (and (biscuit ?p) (not (dry ?p))))) (forall (?p - pot ?s - shelf) (when (and (standing ?p ?s) (shelf-of ?s ?k) (glazed ?p)) (and (finished ?p) (not (glazed ?p)))))))
  (:action cool
    :parameters (?k - kiln)
    :precondition (hot ?k)
    :effect (not (hot ?k)))
  (:action crush
    :parameters (?p - pot)
    :precondition (and (cracked ?p) (on-bench ?p))
    :effect (and (clay ?p) (not (cracked ?p)))))
