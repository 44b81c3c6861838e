-- Takes the locks that are free, and renews those that the caller has.
-- KEYS: locks of one bucket. ARGV[1]: the owner. ARGV[2]: the lease in milliseconds.
-- Answers 1 or 0 for each key: never all or nothing, and never waiting, so that nobody holds one and waits for another.
local answers = {}
for i, key in ipairs(KEYS) do
  local holder = redis.call('GET', key)
  if not holder then
    redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
    answers[i] = 1
  elseif holder == ARGV[1] then
    redis.call('PEXPIRE', key, ARGV[2])
    answers[i] = 1
  else
    answers[i] = 0
  end
end
return answers
