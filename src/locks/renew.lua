-- Renews the locks that the caller still has; a lock that ran out is not taken again.
-- KEYS: locks of one bucket. ARGV[1]: the owner. ARGV[2]: the lease in milliseconds.
-- Answers 1 or 0 for each key.
local answers = {}
for i, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then
    redis.call('PEXPIRE', key, ARGV[2])
    answers[i] = 1
  else
    answers[i] = 0
  end
end
return answers
