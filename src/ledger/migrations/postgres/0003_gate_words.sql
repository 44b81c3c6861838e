-- Who ended a window, beside who began it (gate.actor, which stays when it is over).
ALTER TABLE gate ADD COLUMN granted_by text, ADD COLUMN reopened_by text;
