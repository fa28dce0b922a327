-- submit_charged: submits tasks, some of which have a charge (lib/submit.lua).

return replies
