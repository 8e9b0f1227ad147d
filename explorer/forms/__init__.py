"""Query strings and posted forms, validated: an invalid value gets a message at its field."""
