"""Query strings and posted forms, validated: a wrong value gets a sentence beside its field."""
