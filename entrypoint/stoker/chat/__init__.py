"""`stoker chat`: a conversation on the terminal, with a server of this machine or elsewhere."""
