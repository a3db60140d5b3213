"""What a tool server needs to take only granted calls: verify a grant without asking anybody.

    verifier = GrantVerifier(jwks, server="mail")
    grant = verifier.verify(token, tool="mail/send", arguments=arguments, agent_id=caller)

``aisecops_grant.verifier`` needs ``cryptography``; everything else here needs nothing but Python.
"""
