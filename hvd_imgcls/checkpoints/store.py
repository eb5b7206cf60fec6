"""TEMP."""
import dataclasses, pickle, shutil, os
from pathlib import Path
@dataclasses.dataclass(frozen=True)
class Entry:
    step:int; path:Path; facts:dict; bytes:int=0; created:str=""
@dataclasses.dataclass(frozen=True)
class Checkpoint:
    step:int; states:dict; states_by_rank:list; facts:dict
class CheckpointStore:
    def __init__(self, directory, disk=None): self.d=Path(directory)
    def write(self, step, states, states_by_rank, facts):
        self.d.mkdir(parents=True,exist_ok=True)
        p=self.d/f"step-{step:08d}"
        t=self.d/f"tmp-{step}"
        t.write_bytes(pickle.dumps((step,dict(states),list(states_by_rank),dict(facts))))
        os.replace(t,p)
        return Entry(step,p,dict(facts))
    def entries(self):
        return [Entry(c.step,p,c.facts) for p,c in self._all()]
    def _all(self):
        return [(p,Checkpoint(*pickle.loads(p.read_bytes()))) for p in sorted(self.d.glob("step-*"))] if self.d.is_dir() else []
    def newest(self, warn):
        a=self._all()
        return a[-1][1] if a else None
    def retain(self, keep_last, keep):
        e=self.entries()
        for x in e[:-keep_last]:
            if x.step not in keep: x.path.unlink()
    def clean(self): pass
