"""THE spine: admit → read → route → prepare → relay → account, in this order.

    spine      the order of the stages, and what every call gets whatever happens
    order      what one call asks of one provider: the value the stages hand on
    model      a model request becomes an order: body read, candidate chosen
    unified    POST /llm becomes an ordinary request
    answer     an answer that is the gateway's own
    nearby     what the gateway answers itself: its own responses, estimates
    translator, translation, talk, embedding, counting
               what is asked and answered, said in another dialect
    stored     responses that the gateway itself has made
    passage    pass-through, other /v1 paths and stored responses become orders
    upgrade    a WebSocket becomes a tunnel
    carry      an order is carried out: transfer, reply, in-band end
    failures   what went wrong upstream becomes a code of the catalogue
    heads      the header fields that the gateway adds on either side

Only `spine` knows the order; the others know their neighbours by value types.
"""

from proxy.pipeline.spine import Pipeline as Pipeline
