-- Releases the locks that the caller has; those of others stay.
-- KEYS: locks of one bucket. ARGV[1]: the owner.
-- Answers 1 or 0 for each key.
local answers = {}
for i, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then
    redis.call('DEL', key)
    answers[i] = 1
  else
    answers[i] = 0
  end
end
return answers
