"""What agents may ask of the appliance from inside their containers: few methods, scoped, and nothing changes unasked.

The agent is hostile. Every call is judged by a table (``rules``): what is not in it is refused. What only reads is
answered; what changes something becomes an approval that shows the whole call, and is done with the agent's scope as it
is when somebody has allowed it.
"""
