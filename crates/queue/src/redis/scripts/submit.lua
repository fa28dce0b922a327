-- submit: submits tasks without a charge (lib/submit.lua).

return replies
