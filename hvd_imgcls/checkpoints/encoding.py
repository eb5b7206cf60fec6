"""TEMP."""
import numpy as np
def encode(state):
    arrays=[]
    def go(v):
        if isinstance(v,np.ndarray):
            arrays.append(np.ascontiguousarray(v).reshape(v.shape)); return {"@a":len(arrays)-1}
        if isinstance(v,dict): return {"@d":{k:go(x) for k,x in v.items()}}
        if isinstance(v,list): return [go(x) for x in v]
        if isinstance(v,float): return {"@f":v.hex()}
        return v
    return go(state),arrays
def decode(tree,arrays):
    def go(v):
        if isinstance(v,dict):
            (k,x),=v.items()
            if k=="@a": return arrays[x]
            if k=="@f": return float.fromhex(x)
            return {a:go(b) for a,b in x.items()}
        if isinstance(v,list): return [go(x) for x in v]
        return v
    return go(tree)
